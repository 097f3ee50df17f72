/** Where the files of an instance or a staging task lie on the host. */
export type FileRoot =
  | { state: 'unknown' }
  /** Known, but has no files at present. */
  | { state: 'unavailable' }
  | {
      state: 'ok';
      /** Absolute host directory; what is served lies in it. */
      root: string;
      /**
       * Absolute host directory that is `/` for the processes that make the files, and so for their absolute symbolic
       * links; `root` lies beneath it. @default root
       */
      containerRoot?: string | undefined;
    };

/** Who has files to show (docs/protocol/dea.md §20.3). */
export interface FileRoots {
  instanceRoot(instanceId: string): FileRoot;
  stagingRoot(taskId: string): FileRoot;
}
