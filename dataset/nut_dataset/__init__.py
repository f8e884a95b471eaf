"""What a data set is: its folders, its checks, and drawn weld nuts for demo and tests."""
