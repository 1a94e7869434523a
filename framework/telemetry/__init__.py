"""What is kept of builds, and what it answers: records, prices, sizes, neighbours. Pure: no clock, file or socket."""
