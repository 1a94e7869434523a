"""The Mesos executor: started by a Mesos agent, it runs one build, or all of a host's, and reports how each ended.

Three processes take part. The *driver* speaks the v1 executor API. For each build there is a *guard*, its child, a
sleeping shell that is the subreaper of everything below it and wakes only when the runner died without saying so. The
*runner*, the guard's child, starts the build, holds it to its limits and kills it when the driver's pipe closes.
Whichever of them is killed, another one is left to clear the build away.

Modules are imported as late as they are needed: the time from the Mesos agent's fork to TASK_RUNNING is waited for.
"""
