"""Commands by group. Each module is imported when one of its commands is called, and imports its own needs late."""
