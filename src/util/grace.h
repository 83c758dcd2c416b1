/* A way to wait until no worker uses what was published before: given to those who take things away. */
#ifndef VMQ_UTIL_GRACE_H
#define VMQ_UTIL_GRACE_H

struct grace {
	void (*wait)(void *ctx); /* any thread but a worker; microseconds */
	void *ctx;
};

#endif
