const controllers =
  'blkio|cgroup|cpu|cpuacct|cpuset|devices|freezer|hugetlb|io|irq|memory|misc|net_cls|net_prio|perf_event|pids|rdma';
const reserved = new RegExp(`^((${controllers})\\..*|tasks|notify_on_release|release_agent)$`);

/** Whether the kernel has a file of that name, or may get one, in a directory of control groups. */
export function isReservedGroupName(name: string): boolean {
  return reserved.test(name);
}
