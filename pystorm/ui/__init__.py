"""What people see of a running topology."""
