from taskq.app import TaskQ

one = TaskQ("one")
two = TaskQ("two")
