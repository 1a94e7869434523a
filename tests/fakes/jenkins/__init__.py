"""A stand-in for Jenkins 2.463, run as a program: ``python -m tests.fakes.jenkins``.

It answers over HTTP as Jenkins was recorded to (tests/contract/jenkins holds it to that, and can be pointed at a real
one), keeps its home in Jenkins' layout, and its agents really run shell steps. Less than Jenkins are: Pipelines
(``pipeline.py`` says which steps), the script console (``console.py``), views, folders and plugins.
"""
