/** What was found out about one thing that the engine needs of its host. */
export interface HostFinding {
  /** `program conmon`, `runtime crun` */
  subject: string;
  /** `missing`: not installed; `fails`: there, but does not work here. */
  state: 'ok' | 'missing' | 'fails';
  /** Where it is, what it costs, or why it fails. */
  detail: string;
  /** The engine works without it; what is lost then. */
  optional?: string;
  /** Command that brings it. */
  remedy?: string;
}
