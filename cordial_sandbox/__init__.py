"""A local Cordial: the documented part of its v2 API, and jobs that deliver real files.

It stands in for the test account that Cordial does not offer. Where Cordial documents nothing, the sandbox makes
its own choice, which ``settings.Behaviour`` can change.
"""
