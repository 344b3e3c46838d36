# From `MAY room room...` lines, then `nm -A -g` of the archives, to findings (F) and figures (I):
# what a room uses of another, of a library, of what is banned; and circles among its files.
# -v circle_max=N -v banned="word ..."

function of(symbol,    p) { # the library that a symbol without a definition of ours belongs to
	for (p in library) if (index(symbol, p) == 1) return p
	return ""
}

BEGIN {
	# Which files may call a library, as room/object.
	library["json_"] = "^(cli/|api/|fleet/node_row|work/tasks)"
	library["sqlite3_"] = "^store/"
	library["libssh2_"] = "^transport/"
	library["curl_"] = "^cli/client$"
	library["MHD_"] = "^api/httpd"
	nbanned = split(banned, words, /[ \t\n]+/)
	for (i = 1; i <= nbanned; i++) is_banned[words[i]] = 1
}
$1 == "MAY" { for (i = 3; i <= NF; i++) may[$2, $i] = 1; next }
NF < 3 && $0 !~ / U / { next }
{
	split($1, at, ":") # build/lib/libcube-room.a:file.o:value
	room = at[1]; sub(/.*libcube-/, "", room); sub(/\.a$/, "", room)
	file = at[2]; sub(/\.o$/, "", file)
	file = room "/" file
	room_of[file] = room
	if ($(NF - 1) == "U") uses[++nuses] = file SUBSEP $NF
	else if ($NF in home && home[$NF] != file) print "F " $NF ": defined by " home[$NF] " and " file
	else home[$NF] = file
}
END {
	for (i = 1; i <= nuses; i++) {
		split(uses[i], u, SUBSEP); file = u[1]; symbol = u[2]
		if (!(symbol in home)) {
			lib = of(symbol)
			if (lib != "" && file !~ library[lib]) print "F " file ".c: may not call " symbol
			if (symbol in is_banned) print "F " file ".c: banned call: " symbol
			continue
		}
		other = home[symbol]
		if (room_of[file] == room_of[other]) { if (file != other) edge[file, other] = 1; continue }
		if (!((room_of[file], room_of[other]) in may)) up[room_of[file] " -> " room_of[other]] = up[room_of[file] " -> " room_of[other]] "\n  " file " -> " other ": " symbol
	}
	for (e in up) { n = split(up[e], lines, "\n"); for (i = 2; i <= n; i++) print "F " e ":" lines[i] }
	circles()
}

# The largest set of files of each room that reach each other.
function circles(    a, b, c, f, n, files, room, names, size, best, list, seen) {
	for (f in room_of) members[room_of[f]] = members[room_of[f]] " " f
	for (room in members) {
		n = split(members[room], files, " ")
		split("", reach)
		for (a = 1; a <= n; a++) for (b = 1; b <= n; b++) if ((files[a], files[b]) in edge) reach[a, b] = 1
		for (c = 1; c <= n; c++) for (a = 1; a <= n; a++) if ((a, c) in reach) for (b = 1; b <= n; b++) if ((c, b) in reach) reach[a, b] = 1
		best = 1; list = ""; split("", seen)
		for (a = 1; a <= n; a++) {
			if (a in seen) continue
			size = 0; names = ""
			for (b = 1; b <= n; b++) if (b == a || ((a, b) in reach && (b, a) in reach)) { size++; seen[b] = 1; names = names " " files[b] }
			if (size > best) { best = size; list = names }
		}
		if (best > circle_max) print "F room " room ": a circle of " best " files, over " circle_max ":" list
		else if (best > 1) print "I room " room ": largest circle " best " files:" list
	}
}
