"""What several kinds of tests share: real clusters, hosts and clouds to test against."""
