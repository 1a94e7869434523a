"""What looking at thousands of masters costs the scheduler, as the fallback where their events do not come."""
