package afs

// Procedures of the VL service.
const (
	VLGetEntryByID     = 503
	VLGetEntryByName   = 504
	VLGetNewVolumeID   = 505
	VLListAttributes   = 511
	VLGetStats         = 513
	VLProbeServer      = 514
	VLGetAddrs         = 515
	VLGetEntryByIDN    = 518
	VLGetEntryByNameN  = 519
	VLListAttributesN  = 522
	VLGetEntryByNameU  = 527
	VLGetAddrsU        = 533
	VLListAttributesN2 = 534
)

// Which of a volume's ids.
const (
	ReadWrite = 0
	ReadOnly  = 1
	Backup    = 2
)

// Flags of a volume's entry, and of one of its sites.
const (
	HasReadWrite = 0x1000
	HasReadOnly  = 0x2000
	HasBackup    = 0x4000

	SiteReadOnly  = 0x02
	SiteReadWrite = 0x04
	SiteBackup    = 0x08
)

// A VolumeEntry tells where a volume is: nvldbentry.
type VolumeEntry struct {
	Name       Chars65
	Sites      int32
	Server     [13]uint32
	Partition  [13]int32
	SiteFlags  [13]int32
	VolumeID   [3]uint32
	CloneID    uint32
	Flags      int32
	MatchIndex int32
	Spares     [8]int32
}

// A VolumeEntry8 is the old one with eight sites: vldbentry.
type VolumeEntry8 struct {
	Name      Chars65
	Spare     int32
	Sites     int32
	Server    [8]uint32
	Partition [8]int32
	SiteFlags [8]int32
	VolumeID  [3]uint32
	CloneID   uint32
	Flags     int32
}

// A VolumeEntryU names the servers by UUID: uvldbentry.
type VolumeEntryU struct {
	Name       Chars65
	Sites      int32
	Server     [13]UUID
	Unique     [13]int32
	Partition  [13]int32
	SiteFlags  [13]int32
	VolumeID   [3]uint32
	CloneID    uint32
	Flags      int32
	MatchIndex int32
	Spares     [8]int32
}

// What Attributes.Mask says is to match.
const (
	MatchServer    = 0x1
	MatchPartition = 0x2
	MatchVolumeID  = 0x8
	MatchFlag      = 0x10
)

// Attributes select volumes: VldbListByAttributes.
type Attributes struct {
	Mask      uint32
	Server    uint32
	Partition int32
	Spare     int32
	VolumeID  uint32
	Flag      int32
}

// What AddrQuery.Mask says is known.
const (
	KnownAddr  = 0x1
	KnownIndex = 0x2
	KnownUUID  = 0x4
)

// An AddrQuery selects a file server: ListAddrByAttributes.
type AddrQuery struct {
	Mask  int32
	Addr  uint32
	Index int32
	Spare int32
	UUID  UUID
}

// Arguments and results of the procedures.
type (
	NameArgs struct{ Name string }
	IDArgs   struct {
		ID   uint32
		Type int32
	}
	ListN2Args struct {
		Attributes Attributes
		Name       string // a regular expression, or empty
		Start      int32
	}
	ListN2Result struct {
		Count   int32
		Entries []VolumeEntry
		Next    int32 // -1 at the end
	}
	ListNResult struct {
		Count   int32
		Entries []VolumeEntry
	}
	ListResult struct {
		Count   int32
		Entries []VolumeEntry8
	}
	GetAddrsArgs   struct{ Handle, Spare int32 }
	GetAddrsResult struct {
		Callback [4]uint32
		Count    int32
		Addrs    []uint32
	}
	GetAddrsUResult struct {
		UUID   UUID
		Unique int32
		Count  int32
		Addrs  []uint32
	}
	Uint32 struct{ Value uint32 }
	Int32  struct{ Value int32 }
	String struct{ Value string }

	StatsResult struct {
		Start    uint32
		Requests [50]int32
		Aborts   [50]int32
		Reserved [5]int32

		Version, HeaderSize, Free, End, Allocs, Frees int32
		MaxVolumeID                                   uint32
		Total                                         [3]int32
	}
)
