"""A Ray cluster of two nodes on this machine; loses the second one when told to. Run as a process of its own."""

from __future__ import annotations

import sys


def main() -> None:
    """Print the address, then obey lines on stdin."""
    from ray.cluster_utils import Cluster

    node = {"num_cpus": 1, "object_store_memory": 100 * 2**20, "include_dashboard": False}
    cluster = Cluster(initialize_head=True, head_node_args=node)
    second = cluster.add_node(num_cpus=1, object_store_memory=100 * 2**20)
    cluster.wait_for_nodes()
    print(f"address {cluster.address}", flush=True)
    for line in sys.stdin:
        if line.strip() == "kill":
            cluster.remove_node(second, allow_graceful=False)
            print("killed", flush=True)


if __name__ == "__main__":
    main()
