"""What we watch: servers, their schedules, tags; found and changed, one or many."""
