package abortcode

import "golang.org/x/sys/unix"

// uae are the errnos of uaeNames.
var uae = [len(uaeNames)]unix.Errno{
	unix.EPERM, unix.ENOENT, unix.ESRCH, unix.EINTR, unix.EIO, unix.ENXIO,
	unix.E2BIG, unix.ENOEXEC, unix.EBADF, unix.ECHILD, unix.EAGAIN, unix.ENOMEM,
	unix.EACCES, unix.EFAULT, unix.ENOTBLK, unix.EBUSY, unix.EEXIST, unix.EXDEV,
	unix.ENODEV, unix.ENOTDIR, unix.EISDIR, unix.EINVAL, unix.ENFILE, unix.EMFILE,
	unix.ENOTTY, unix.ETXTBSY, unix.EFBIG, unix.ENOSPC, unix.ESPIPE, unix.EROFS,
	unix.EMLINK, unix.EPIPE, unix.EDOM, unix.ERANGE, unix.EDEADLK, unix.ENAMETOOLONG,
	unix.ENOLCK, unix.ENOSYS, unix.ENOTEMPTY, unix.ELOOP, unix.EWOULDBLOCK, unix.ENOMSG,
	unix.EIDRM, unix.ECHRNG, unix.EL2NSYNC, unix.EL3HLT, unix.EL3RST, unix.ELNRNG,
	unix.EUNATCH, unix.ENOCSI, unix.EL2HLT, unix.EBADE, unix.EBADR, unix.EXFULL,
	unix.ENOANO, unix.EBADRQC, unix.EBADSLT, unix.EBFONT, unix.ENOSTR, unix.ENODATA,
	unix.ETIME, unix.ENOSR, unix.ENONET, unix.ENOPKG, unix.EREMOTE, unix.ENOLINK,
	unix.EADV, unix.ESRMNT, unix.ECOMM, unix.EPROTO, unix.EMULTIHOP, unix.EDOTDOT,
	unix.EBADMSG, unix.EOVERFLOW, unix.ENOTUNIQ, unix.EBADFD, unix.EREMCHG, unix.ELIBACC,
	unix.ELIBBAD, unix.ELIBSCN, unix.ELIBMAX, unix.ELIBEXEC, unix.EILSEQ, unix.ERESTART,
	unix.ESTRPIPE, unix.EUSERS, unix.ENOTSOCK, unix.EDESTADDRREQ, unix.EMSGSIZE, unix.EPROTOTYPE,
	unix.ENOPROTOOPT, unix.EPROTONOSUPPORT, unix.ESOCKTNOSUPPORT, unix.EOPNOTSUPP, unix.EPFNOSUPPORT, unix.EAFNOSUPPORT,
	unix.EADDRINUSE, unix.EADDRNOTAVAIL, unix.ENETDOWN, unix.ENETUNREACH, unix.ENETRESET, unix.ECONNABORTED,
	unix.ECONNRESET, unix.ENOBUFS, unix.EISCONN, unix.ENOTCONN, unix.ESHUTDOWN, unix.ETOOMANYREFS,
	unix.ETIMEDOUT, unix.ECONNREFUSED, unix.EHOSTDOWN, unix.EHOSTUNREACH, unix.EALREADY, unix.EINPROGRESS,
	unix.ESTALE, unix.EUCLEAN, unix.ENOTNAM, unix.ENAVAIL, unix.EISNAM, unix.EREMOTEIO,
	unix.EDQUOT, unix.ENOMEDIUM, unix.EMEDIUMTYPE,
}
