"""What Prometheus, Grafana and Kibana are given."""
