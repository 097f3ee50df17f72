/** The database, a peer or the lock store failed. Whoever called is told the text as it is, as an unknown error. */
export class OutsideFailure extends Error {}
