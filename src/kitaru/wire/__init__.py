"""What travels between a server and its clients: versions, errors, and the connection itself."""
