"""Storage servers that come with the sandbox, so that there is something to deliver to."""
