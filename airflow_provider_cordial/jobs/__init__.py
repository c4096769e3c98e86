"""Wait for jobs: one in the task's own process, or thousands in a triggerer."""
