import { HeldPlace, type ServedEntry } from './held-place.js';
import { Walk } from './walk.js';

/**
 * Opens a path that is known to have no symbolic links, component by component, so that a link which someone swaps in
 * meanwhile is not followed. Pipes and devices are refused without being opened.
 *
 * @param path absolute
 * @throws EntityNotFoundError, NotServableError, or the system's error
 */
export async function openResolved(path: string): Promise<ServedEntry> {
  const walk = await Walk.from('/', 'refuse');
  try {
    await walk.go(path);
    return await walk.place.open();
  } finally {
    walk.close();
  }
}

/** Opens a path, following symbolic links as the system does. @throws as `openResolved` */
export async function openFollowingLinks(path: string): Promise<ServedEntry> {
  const place = await HeldPlace.at(path);
  try {
    return await place.open();
  } finally {
    place.close();
  }
}
