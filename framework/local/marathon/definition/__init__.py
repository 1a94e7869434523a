"""What operators write, apps and groups as v2 documents: read, checked, and put into the one form all works with."""
