"""The pages for people: jobs, audiences, trends, faults, and requests. Cordial has some of them in its console."""

from cordial_sandbox.pages.router import create_pages_router

__all__ = ["create_pages_router"]
