"""What the policy is measured against: each takes the same sensors and limits."""
