// What the client may do here. session.js says who is signed in.

const { dataset } = document.documentElement;

/** Whether this client is an administrator; without authentication every client is one. */
export const isAdmin = () => dataset.auth === "none" || dataset.role === "admin";
