"""Other task queues beside ours: the same jobs, the same server, one small adapter each."""
