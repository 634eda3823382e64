"""What runs inside a sandbox. It imports the standard library and itself alone; `program` is where it begins."""
