/** What root in an unprivileged container may have: mask `a80425fb` (docs/protocol/containers.md §3.2). */
export const unprivilegedCapabilities = [
  'CAP_AUDIT_WRITE',
  'CAP_CHOWN',
  'CAP_DAC_OVERRIDE',
  'CAP_FOWNER',
  'CAP_FSETID',
  'CAP_KILL',
  'CAP_MKNOD',
  'CAP_NET_BIND_SERVICE',
  'CAP_NET_RAW',
  'CAP_SETFCAP',
  'CAP_SETGID',
  'CAP_SETPCAP',
  'CAP_SETUID',
  'CAP_SYS_CHROOT',
];

/** The five sets as the OCI runtime specification names them. */
export interface CapabilitySets {
  bounding: string[];
  permitted: string[];
  effective: string[];
  inheritable: string[];
  ambient: string[];
}

/**
 * The sets of a process by its user id. Only root starts with capabilities in effect; others can reach the bounding
 * set by programs with set-user-id or file capabilities. The inheritable set stays empty: with it, a file's
 * inheritable capabilities would take effect for every user (CVE-2022-24769).
 */
export function capabilitiesFor(uid: number): CapabilitySets {
  const inEffect = uid === 0 ? unprivilegedCapabilities : [];
  return {
    bounding: unprivilegedCapabilities,
    permitted: inEffect,
    effective: inEffect,
    inheritable: [],
    ambient: [],
  };
}
