"""What runs on hosts: the Mesos executor of a build. Standard library only, Python 3.8 or later."""
