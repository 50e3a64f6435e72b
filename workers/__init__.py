"""The services of the demo: a crawl with one small module of tasks per pool kind. Not installed with taskq."""
