import { resolve } from 'node:path';
import { formatTable } from '../../process/table.js';
import type { Buildpack, BuildpackChange } from '../api/resources.js';
import { CliError } from '../cli-error.js';
import { type Package, packFiles } from '../package.js';
import type { Session } from '../session.js';

/** Prints the operators' buildpacks in detection order. */
export async function buildpacks(session: Session): Promise<void> {
  const all = await session.buildpacks.list();
  if (all.length === 0) return session.line('no buildpacks; try: isthmus create-buildpack NAME PATH 1');
  const rows = all.map(({ name, position, enabled, filename }) => [
    name,
    String(position),
    enabled ? 'yes' : 'no',
    filename ?? '(nothing uploaded)',
  ]);
  for (const line of formatTable(['name', 'position', 'enabled', 'file'], rows)) session.line(line);
}

export interface CreateBuildpackOptions {
  /** A zip file, or a directory that becomes one. */
  path: string;
  position: number;
  isEnabled: boolean;
}

/** Makes a buildpack; when its upload fails nothing is left of it. @throws CliError when the name is taken */
export async function createBuildpack(session: Session, name: string, options: CreateBuildpackOptions): Promise<void> {
  const { path, position, isEnabled } = options;
  if (await session.buildpacks.find(name)) {
    throw new CliError(`there is a buildpack named ${name}; to change it: isthmus update-buildpack ${name}`);
  }
  await withZip(session, path, async (zip) => {
    const created = await session.buildpacks.create(name, position);
    try {
      await session.buildpacks.uploadBits(created.guid, zip.path, zip.filename);
      if (!isEnabled) await session.buildpacks.update(created.guid, { enabled: false });
    } catch (error) {
      await session.buildpacks.delete(created.guid).catch(() => {}); // The first error tells why.
      throw error;
    }
  });
  session.line(`${name} is created`);
}

export interface UpdateBuildpackOptions {
  path?: string;
  position?: number;
  isEnabled?: boolean;
}

/** Changes a buildpack's content, its place in the order, or whether it is used. */
export async function updateBuildpack(session: Session, name: string, options: UpdateBuildpackOptions): Promise<void> {
  const { path, position, isEnabled } = options;
  const change: BuildpackChange = {
    ...(position !== undefined && { position }),
    ...(isEnabled !== undefined && { enabled: isEnabled }),
  };
  if (path === undefined && Object.keys(change).length === 0) {
    throw new CliError('give -p, -i, --enable or --disable');
  }
  const { guid }: Buildpack = await session.buildpacks.get(name);
  if (path !== undefined) {
    await withZip(session, path, async (zip) => {
      await session.buildpacks.uploadBits(guid, zip.path, zip.filename);
    });
  }
  if (Object.keys(change).length > 0) await session.buildpacks.update(guid, change);
  session.line(`${name} is updated`);
}

/** Removes a buildpack; only with `isForced`, as there is no way back. */
export async function deleteBuildpack(session: Session, name: string, isForced: boolean): Promise<void> {
  const { guid } = await session.buildpacks.get(name);
  if (!isForced) throw new CliError(`this removes the buildpack ${name} for good; say so with -f`);
  await session.buildpacks.delete(guid);
  session.line(`${name} is deleted`);
}

/** Has a zip for as long as `use` takes. @throws CliError when there is neither a directory nor a zip file */
async function withZip(session: Session, path: string, use: (zip: Package) => Promise<void>): Promise<void> {
  const zip = await packFiles(resolve(session.terminal.directory ?? process.cwd(), path), path);
  try {
    await use(zip);
  } finally {
    await zip.remove();
  }
}
