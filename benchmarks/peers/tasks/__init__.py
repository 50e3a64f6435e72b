"""The same three tasks, as each system's users would write them; each module runs in its system's own environment."""
