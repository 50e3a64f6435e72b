"""What connects taskq with other systems. Each module stands on the public API alone and needs an extra of its own."""
