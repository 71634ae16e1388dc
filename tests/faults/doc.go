// Package faults holds the broker's process and the client library against bad
// input, hostile clients and sudden ends. The broker is a process of its own (the test's
// binary in another role), so that it can be killed and measured from outside; what
// breaks the protocol is written from docs/protocol.md alone.
//
// Which test shows what; those of connector/broker are over sockets or, "hub", below them:
//
//	truncated frames            TestTruncatedFramesAndGarbage; FuzzInput (hub)
//	oversized, mis-lengthed     TestMalformedFramesEndTheirConnectionAlone;
//	                            TestViolationsEndTheConnectionWithAReason (hub)
//	wrong type, wrong flags     the same; flags: TestForgedSenders
//	forged port id              TestForgedSenders; TestBrokerCarriesMessagesWithKernelCredentials
//	unknown ids                 TestUnknownReceivers, TestFloodToUnknownReceivers;
//	                            TestEachFailureHasItsOwnError (hub)
//	notify: absurd counts,      TestAbsurdNotifyRequests, TestFloodOfNotifyRequests
//	overflowing ranges
//	flood of registrations,     TestFloodsReachTheirLimit, TestLimitsThroughTheLibrary;
//	memberships, watches        TestLogIsNotFilledByOneUser (hub)
//	flood of connections        TestFloodOfConnections
//	a client that never reads   TestAgentThatNeverReads, TestClientThatAsksAndNeverReads;
//	                            TestClientThatNeverReadsHarmsOnlyItself,
//	                            TestStopDoesNotWaitForAClientThatNeverReads
//	one that says nothing       TestSilentConnections; TestClientThatSaysNothingIsSentAway
//	half a frame, then silence  TestSilentConnections; TestHalfAFrameThenSilenceHarmsNobody
//	1000 clients connecting     TestChurn (a minute of it: make soak, or CNBUS_SOAK=60s);
//	and dying                   TestNothingIsLeftOfClientsThatDie
//	broker killed under load    TestBrokerKilledUnderLoad; histories: TestHistorySurvivesASuddenEnd (hub)
//	broker stopped under load   TestBrokerStoppedUnderLoad; TestBrokerStopsGracefully
//	confirmed means delivered   TestConfirmedMessagesAreOutOfTheBroker
//	client killed at any point  TestClientKilledWhileItRegistersAndCalls
//	a stopped client            TestStoppedProcessHarmsOnlyItself
//	another user                TestAnotherUser
package faults
