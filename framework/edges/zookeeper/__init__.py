"""The state and the election of several schedulers in ZooKeeper, both on one session.

::

    connection = ZooKeeperConnection(url, cluster, auth, session_timeout_s, chance)  # connection.py
    connection.check(timeout_s)     # optional: says at once what is wrong; without it everything waits until it works
    store = ZooKeeperStore(connection, chance)                                       # store.py; follows from now on
    me = Candidate(url=..., name=..., version=...)                                   # election.py
    election = ZooKeeperElection(connection, store, me, clock, chance)
    epoch = await election.lead()   # from now on the store takes our writes
    ...
    await election.close(); store.close(); connection.close()

``cluster`` says in words whose state it is, such as the framework's name and where its Mesos is; the first scheduler
writes it down, and one of another cluster is refused. ``election.standbys`` are the others that stand for election.
"""
