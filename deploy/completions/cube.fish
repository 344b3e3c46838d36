# fish completion of cube. `cube complete` knows the words; here they are only handed over.

function __cube_complete
    set -l before (commandline -opc)
    set -l now (commandline -ct)
    set -l value (string replace -r '^--[^=]*=' '' -- $now)
    set -l lead (string sub -l (math (string length -- "$now") - (string length -- "$value")) -- "$now")
    for line in ($before[1] complete -- $before[2..-1] (string unescape -- "$now") 2>/dev/null)
        switch $line
            case :files
                for file in (__fish_complete_path "$value")
                    echo $lead$file
                end
            case :dirs
                for file in (__fish_complete_directories "$value")
                    echo $lead$file
                end
            case :commands
                complete -C "$value" | string match -v -- '-*'
            case '*'
                echo $line
        end
    end
end

complete -c cube -f -a '(__cube_complete)'
