"""A local Cordial: the documented part of its v2 API, and jobs that really deliver files.

It stands in for an account that Cordial does not offer for tests. What it answers where Cordial documents nothing is
its own choice, and can be switched; see ``settings.Behaviour``.
"""
