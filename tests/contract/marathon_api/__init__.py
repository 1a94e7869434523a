"""What requests and answers of Marathon's v2 API look like, and who holds an exchange against it."""
