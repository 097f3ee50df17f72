/** Something the user has to know; its text is all that is printed. */
export class CliError extends Error {}
