"""The face to Redis: keys, scripts, calls. The only package that imports redis."""
