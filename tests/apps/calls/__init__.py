"""Plain functions, which no app knows."""
