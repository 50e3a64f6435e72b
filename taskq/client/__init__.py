"""What producers use: tasks, results, queues."""
