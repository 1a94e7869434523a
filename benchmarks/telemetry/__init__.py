"""What the history of builds costs and stands: beside Elasticsearch's own client, while it is dead, with a million."""
