"""Pages: the door, one's own account, everybody's roles."""
