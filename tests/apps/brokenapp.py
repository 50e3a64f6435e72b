raise ValueError("no luck")
