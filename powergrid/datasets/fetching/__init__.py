"""Downloads that somebody asked for: politely, resumed, checked, and whole or absent."""
