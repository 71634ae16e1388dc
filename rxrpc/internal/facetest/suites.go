package facetest

// Calls are tests of calls: Client and Call, with a Server at the other end.
var Calls = Suite{
	{"CallSendsAndReturnsEveryByte", testCallSendsAndReturnsEveryByte},
	{"AppendCallAppends", testAppendCallAppends},
	{"StreamInPiecesOfAllSizes", testStreamInPiecesOfAllSizes},
	{"ReadEndsTheRequest", testReadEndsTheRequest},
	{"AnnouncedLengthIsKept", testAnnouncedLengthIsKept},
	{"AbortsHaveCodesAndNames", testAbortsHaveCodesAndNames},
	{"RepliesAndRequestsHaveLimits", testRepliesAndRequestsHaveLimits},
	{"ContextEndsTheCallOnBothSides", testContextEndsTheCallOnBothSides},
	{"DeadlineIsATimeout", testDeadlineIsATimeout},
	{"AbortEndsAStreamOnBothSides", testAbortEndsAStreamOnBothSides},
	{"HandlerNeedNotReadEverything", testHandlerNeedNotReadEverything},
	{"ManyCallsAtATime", testManyCallsAtATime},
	{"Stalls", testStalls},
}

// Servers are tests of servers.
var Servers = Suite{
	{"ServiceUpgrade", testServiceUpgrade},
	{"ServiceIsServedOnce", testServiceIsServedOnce},
	{"ServerCallsItsClientBack", testServerCallsItsClientBack},
	{"ContextKnowsItsCall", testContextKnowsItsCall},
	{"HandlerThatKeepsItsCall", testHandlerThatKeepsItsCall},
	{"ShutdownWaitsForHandlers", testShutdownWaitsForHandlers},
	{"ShutdownGivesUp", testShutdownGivesUp},
	{"CloseEndsEverything", testCloseEndsEverything},
	{"CloseAmidCalls", testCloseAmidCalls},
	{"WorkersAreLimited", testWorkersAreLimited},
	{"NobodyThere", testNobodyThere},
	{"SilentPeerTimesOut", testSilentPeerTimesOut},
	{"RefusedByThisHost", testRefusedByThisHost},
	{"AbortIsNotOvertaken", testAbortIsNotOvertaken},
	{"ServerKnowsWhoCalls", testServerKnowsWhoCalls},
}

// Sockets are tests of sockets.
var Sockets = Suite{
	{"SocketOfTheFirstKind", testSocketOfTheFirstKind},
	{"SocketOfToday", testSocketOfToday},
	{"SocketAndTheOtherFaces", testSocketAndTheOtherFaces},
	{"SocketAbort", testSocketAbort},
	{"SocketPeek", testSocketPeek},
	{"SocketRaw", testSocketRaw},
	{"SocketUpgrade", testSocketUpgrade},
	{"SocketTimeout", testSocketTimeout},
	{"SocketServerMakesCalls", testSocketServerMakesCalls},
	{"SocketManyCalls", testSocketManyCalls},
	{"SocketKnowsWhoCalls", testSocketKnowsWhoCalls},
}

// Errnos are tests of what sockets refuse, and by which errno.
var Errnos = Suite{
	{"ErrnosOfAddresses", testErrnosOfAddresses},
	{"ErrnosOfStates", testErrnosOfStates},
	{"ErrnosOfOptions", testErrnosOfOptions},
	{"ErrnosOfParsing", testErrnosOfParsing},
	{"ErrnosOfSendmsg", testErrnosOfSendmsg},
}

// Kernels are tests of the kernel's interface.
var Kernels = Suite{
	{"KernelServiceOfTheFirstKind", testKernelServiceOfTheFirstKind},
	{"KernelServiceFailures", testKernelServiceFailures},
	{"KernelServiceOfToday", testKernelServiceOfToday},
	{"RecvDataBesideInterceptor", testRecvDataBesideInterceptor},
}
