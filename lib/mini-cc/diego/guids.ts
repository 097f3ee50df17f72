/** Letters of a guid as apps have them. */
const guidLength = 36;

/** `<app guid>-<version>`: names one version of an app (docs/protocol/legacy-cc.md §9). */
export function processGuid({ guid, version }: { guid: string; version: string }): string {
  return `${guid}-${version}`;
}

/** `<app guid>-<task id>`: names one staging of an app. */
export function stagingGuid(appGuid: string, taskId: string): string {
  return `${appGuid}-${taskId}`;
}

/** The app's guid, and what comes after it: the version of a process, or the task id of a staging. */
export function splitGuid(guid: string): { appGuid: string; rest: string } {
  return { appGuid: guid.slice(0, guidLength), rest: guid.slice(guidLength + 1) };
}
