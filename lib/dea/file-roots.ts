import type { FileRoot, FileRoots } from './files/file-roots.js';
import type { InstanceRegistry } from './instances/instance-registry.js';
import type { StagingRegistry } from './staging/staging-registry.js';

/** Which directories of the host hold the files of instances and staging tasks (docs/protocol/dea.md §20.3). */
export function fileRootsOf(instances: InstanceRegistry, stagingTasks: StagingRegistry): FileRoots {
  return {
    instanceRoot(id): FileRoot {
      const instance = instances.get(id);
      if (!instance) return { state: 'unknown' };
      if (instance.state === 'CRASHED') return { state: 'ok', root: instance.crashDirectory };
      const isServed = instance.state === 'RUNNING' || instance.state === 'EVACUATING';
      const { homeDirectory: root, rootDirectory: containerRoot } = instance;
      if (!isServed || root === undefined || containerRoot === undefined) return { state: 'unavailable' };
      return { state: 'ok', root, containerRoot };
    },
    stagingRoot(id): FileRoot {
      const task = stagingTasks.get(id);
      if (!task) return { state: 'unknown' };
      return task.rootDirectory === undefined ? { state: 'unavailable' } : { state: 'ok', root: task.rootDirectory };
    },
  };
}
