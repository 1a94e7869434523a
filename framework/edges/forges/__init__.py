"""GitHub, GitLab and Bitbucket Cloud: their webhooks' messages, and of their APIs what commits' statuses need."""
